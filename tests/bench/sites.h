#define SITES 200
