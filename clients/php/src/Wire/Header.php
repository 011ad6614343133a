<?php

declare(strict_types=1);

namespace Jackfield\Wire;

use Jackfield\Exception\ProtocolException;

use function bin2hex, pack, strlen, substr;

/**
 * The seven bytes before every payload (protocol, section 1).
 *
 * A header holds the version (u16), the kind (u8) and the payload length (u32), all in big endian.
 *
 * @internal
 */
final class Header
{
    /** Length of a header, in bytes. */
    public const LENGTH = 7;

    /** Largest payload that the length field can announce, in bytes. */
    public const MAX_PAYLOAD = 0xFFFFFFFF;

    public const SYNC = 0x01;
    public const HEARTBEAT = 0x02;
    public const ERROR = 0x03;
    public const ASYNC_REQUEST = 0x04;
    public const ASYNC_RESPONSE = 0x05;
    public const CANCEL = 0x06;
    public const GOING_AWAY = 0x0A;

    /** A heartbeat of version 1.0, which every peer answers. */
    public const HEARTBEAT_FRAME = "\x01\x00\x02\x00\x00\x00\x00";

    /**
     * Version and kind of a sync request; the payload length follows.
     *
     * Requests have version 1.1, the version that carries ids.
     */
    public const SYNC_PREFIX = "\x01\x01\x01";

    /** Version and kind of an async request; the payload length follows. */
    public const ASYNC_PREFIX = "\x01\x01\x04";

    /** Version 1.2 and the kind, with and without an extension block, for hosts that grant it. */
    public const SYNC_PREFIX_1_2 = "\x01\x02\x01";
    public const ASYNC_PREFIX_1_2 = "\x01\x02\x04";
    public const SYNC_BLOCK_PREFIX = "\x01\x02\x81";
    public const ASYNC_BLOCK_PREFIX = "\x01\x02\x84";

    /** Version and kind of a cancel frame; the payload length follows. */
    public const CANCEL_PREFIX = "\x01\x02\x06";

    /** High byte of the version. All versions with this byte have the same framing. */
    public const FRAMING = "\x01";

    /**
     * Returns a complete frame of version 1.1, the version that carries ids.
     */
    public static function frame(int $kind, string $payload): string
    {
        return pack('nCN', 0x0101, $kind, strlen($payload)) . $payload;
    }

    /**
     * Returns the exception for a stream that has no header of this framing at `$offset`.
     */
    public static function unknownFraming(string $bytes, int $offset): ProtocolException
    {
        $start = substr($bytes, $offset, self::LENGTH);
        $start = bin2hex($start);

        return new ProtocolException(
            "the peer does not speak the Jackfield protocol: a frame starts with the bytes $start"
            . ' (check the address of the socket)'
        );
    }
}
