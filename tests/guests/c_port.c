/* Reads an I/O port, which only a privileged program may. */
int main(void)
{
    unsigned char value;

    __asm__ volatile("inb $0x70, %0" : "=a"(value));
    return value;
}
