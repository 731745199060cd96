typedef struct {
    int fd;
    ...;
} doorbell;

bool doorbell_open(doorbell *d);
void doorbell_ring(doorbell *d);
bool doorbell_rings(const doorbell *d);
void doorbell_answer(doorbell *d);
