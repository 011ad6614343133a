<?php

/**
 * The seven bytes before every payload: version u16, kind u8, length u32, all big endian (protocol, section 1).
 */

declare(strict_types=1);

namespace Jackfield\Wire;

use Jackfield\Exception\ProtocolException;

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
    /** The high byte of every version whose framing is this one. */
    private const FRAMING = 0x01;

    /** A whole frame of version 1.1, the version that carries ids. */
    public static function frame(int $kind, string $payload): string
    {
        return pack('nCN', 0x0101, $kind, strlen($payload)) . $payload;
    }

    /**
     * Reads the header at `$offset`; at least seven bytes must be there.
     *
     * @return array{version: int, kind: int, length: int}
     * @throws ProtocolException when the framing is not this one. An unknown low byte of the version is read as
     *                           the highest version known
     */
    public static function decode(string $bytes, int $offset = 0): array
    {
        $header = unpack('nversion/Ckind/Nlength', $bytes, $offset);
        if ($header === false || $header['version'] >> 8 !== self::FRAMING) {
            throw new ProtocolException(sprintf(
                'the peer does not speak this protocol: a frame begins with %s',
                bin2hex(substr($bytes, $offset, self::LENGTH))
            ));
        }

        return $header;
    }
}
