<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * The host's end of a connection, as a stream of the test.
 */
final class Peer
{
    /**
     * Reads the next request. Heartbeats before it are answered as a host of version 1.1 does.
     *
     * @param resource $peer
     *
     * @return array{version: int, kind: int, body: array<string, mixed>}
     */
    public static function receive($peer): array
    {
        do {
            $frame = self::frame($peer);
            if ($frame['kind'] === 2) {
                fwrite($peer, pack('nCN', $frame['version'], 2, 0));
            }
        } while ($frame['kind'] === 2);

        return ['body' => json_decode($frame['payload'], true)] + $frame;
    }

    /**
     * Reads the next frame.
     *
     * @param resource $peer
     *
     * @return array{version: int, kind: int, payload: string}
     */
    public static function frame($peer): array
    {
        ['version' => $version, 'kind' => $kind, 'length' => $length] = unpack(
            'nversion/Ckind/Nlength',
            (string) stream_get_contents($peer, 7)
        );
        $payload = $length === 0 ? '' : (string) stream_get_contents($peer, $length);

        return ['version' => $version, 'kind' => $kind, 'payload' => $payload];
    }
}
