<?php

/**
 * The seven bytes before every payload: version u16, kind u8, length u32, all big endian (protocol, section 1).
 */

declare(strict_types=1);

namespace Jackfield\Wire;

use Jackfield\Exception\ProtocolException;

use function bin2hex, pack, sprintf, strlen, substr;

final class Header
{
    /** Bytes of a header. */
    public const LENGTH = 7;
    /** The largest payload that the length field can announce, in bytes. */
    public const MAX_PAYLOAD = 0xFFFFFFFF;

    public const SYNC = 0x01;
    public const HEARTBEAT = 0x02;
    public const ERROR = 0x03;
    public const ASYNC_REQUEST = 0x04;
    public const ASYNC_RESPONSE = 0x05;

    /** A heartbeat of version 1.0, which every peer answers. */
    public const HEARTBEAT_FRAME = "\x01\x00\x02\x00\x00\x00\x00";
    /** What a request of version 1.1 begins with, the version that carries ids; its length follows. */
    public const SYNC_HEAD = "\x01\x01\x01";
    public const ASYNC_HEAD = "\x01\x01\x04";
    /** The high byte of every version whose framing is this one. */
    public const FRAMING = "\x01";

    /** A whole frame of version 1.1, the version that carries ids. */
    public static function frame(int $kind, string $payload): string
    {
        return pack('nCN', 0x0101, $kind, strlen($payload)) . $payload;
    }

    /** The failure of a stream that has something else at `$offset` than a header of this framing. */
    public static function foreign(string $bytes, int $offset): ProtocolException
    {
        return new ProtocolException(sprintf(
            'the peer does not speak this protocol: a frame begins with %s',
            bin2hex(substr($bytes, $offset, self::LENGTH))
        ));
    }
}
