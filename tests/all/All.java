import java.io.*;
import java.lang.reflect.Field;
import java.net.*;
import java.nio.channels.FileChannel;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import sun.misc.Unsafe;

/* Threads, collection, implicit null checks, processes, sockets, and a window through Unsafe. */
public class All {
    static class Node { Node next; int value; }

    static int sum(Node n) { return n.next.value + n.value; }

    static int nulls() {
        int caught = 0;
        Node half = new Node();
        Node whole = new Node();
        whole.next = half;
        for (int i = 0; i < 200000; i++)
            try {
                sum(i % 100 == 0 ? half : whole);
            } catch (NullPointerException e) {
                caught++;
            }
        return caught;
    }

    static long load() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        AtomicLong total = new AtomicLong();
        for (int t = 0; t < 8; t++)
            pool.submit(() -> {
                for (int i = 0; i < 200; i++) {
                    List<byte[]> keep = new ArrayList<>();
                    for (int k = 0; k < 50; k++)
                        keep.add(new byte[2000]);
                    total.addAndGet(keep.size());
                    if (i % 50 == 0)
                        System.gc();
                }
            });
        pool.shutdown();
        pool.awaitTermination(60, TimeUnit.SECONDS);
        return total.get();
    }

    static int deep(int n) { return 1 + deep(n + 1); }

    static void processes() throws Exception {
        Process p = new ProcessBuilder("sh", "-c", "cat; echo error >&2; exit 3").redirectErrorStream(true).start();
        p.getOutputStream().write("to a child\n".getBytes());
        p.getOutputStream().close();
        System.out.print(new String(p.getInputStream().readAllBytes()));
        System.out.println(p.waitFor());
        try {
            new ProcessBuilder("/nonexistent").start();
        } catch (IOException e) {
            System.out.println(e.getMessage());
        }
    }

    static void sockets() throws Exception {
        ServerSocket server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
        Thread t = new Thread(() -> {
            try (Socket s = server.accept()) {
                s.getOutputStream().write(s.getInputStream().readNBytes(5));
            } catch (IOException e) {
                System.out.println(e);
            }
        });
        t.start();
        Socket s = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort());
        s.getOutputStream().write("hello".getBytes());
        System.out.println(new String(s.getInputStream().readAllBytes()));
        t.join();
    }

    static void window(Unsafe u, long at) throws Exception {
        AtomicInteger wrong = new AtomicInteger();
        Thread[] threads = new Thread[4];
        for (int t = 0; t < 4; t++) {
            long base = at + 64 * t;
            threads[t] = new Thread(() -> {
                for (int n = 0; n < 20000; n++) {
                    u.putByte(base, (byte) n);
                    u.putInt(base + 8, n * 3);
                    u.putLong(base + 16, n * 0x100000001L);
                    if (u.getByte(base) != (byte) n || u.getInt(base + 8) != n * 3 || u.getLong(base + 16) != n * 0x100000001L)
                        wrong.incrementAndGet();
                }
            });
            threads[t].start();
        }
        for (Thread t : threads)
            t.join();
        System.out.println("wrong " + wrong);
    }

    public static void main(String[] args) throws Exception {
        Field f = Unsafe.class.getDeclaredField("theUnsafe");
        f.setAccessible(true);
        Unsafe u = (Unsafe) f.get(null);
        long at = args.length > 0 ? Long.decode(args[0]) : u.allocateMemory(4096);
        window(u, at);
        System.out.println("null " + nulls());
        System.out.println("load " + load());
        try {
            deep(0);
        } catch (StackOverflowError e) {
            System.out.println("deep");
        }
        processes();
        sockets();
        System.exit(7);
    }
}
