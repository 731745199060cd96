static const char *trapped_timer_arm(timers *t, timer *which, uint64_t due)
{
    TRAPPED(timer_arm(t, which, due));
}
