<?php

declare(strict_types=1);

namespace Jackfield\Wire;

use function pack, strlen;

/**
 * Builds the frame of a request when it is about to be written.
 *
 * Only then it is known how long the caller still waits, and which version the host speaks.
 *
 * @internal
 */
final class RequestFrame
{
    /**
     * Returns a frame.
     *
     * @param string $prefix    version and kind
     * @param string $envelope  the envelope without its closing brace
     * @param int    $remaining how long the caller still waits, in nanoseconds
     */
    public static function of(string $prefix, string $envelope, int $remaining): string
    {
        // Rounded up, and at least 1: the host may not give up before the client does.
        $ms = (int) (($remaining + 999_999) / 1_000_000);
        $envelope .= $ms > 0 ? ",\"deadline_ms\":$ms}" : ',"deadline_ms":1}';

        return $prefix . pack('N', strlen($envelope)) . $envelope;
    }

    /**
     * Returns a frame whose params are bytes.
     *
     * @param string $prefix version and kind, with an extension block
     */
    public static function withBytes(string $prefix, string $envelope, string $bytes, int $remaining): string
    {
        // An envelope with its length is what a frame has behind its version and kind.
        $head = self::of(Block::OF_BYTES, $envelope, $remaining);

        return $prefix . pack('N', strlen($head) + strlen($bytes)) . $head . $bytes;
    }
}
