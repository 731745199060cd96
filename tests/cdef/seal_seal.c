static const char *trapped_seal_protect(seal *s, aead_cache *cache, uint8_t *packet,
                                        uint64_t number)
{
    TRAPPED(seal_protect(s, cache, packet, 8, 8, number));
}
