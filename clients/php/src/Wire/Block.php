<?php

declare(strict_types=1);

namespace Jackfield\Wire;

use Jackfield\Exception\ProtocolException;

use function ord, sprintf, strlen, substr, unpack;

/**
 * The extension block: fields between the header and the body of a frame of version 1.2.
 *
 * @internal
 */
final class Block
{
    /** Kinds of frames with a block, and the kinds of those frames without one. */
    public const KINDS = [0x81 => Header::SYNC, 0x84 => Header::ASYNC_REQUEST, 0x85 => Header::ASYNC_RESPONSE];

    /** Bit of a tag that the reader has to understand. */
    private const MANDATORY = 0x80;
    private const CONTENT_TYPE = 0x85;
    private const TIMING = 0x0E;

    /** Content types: JSON and bytes. */
    private const JSON = 0;
    private const BYTES = 3;

    /** A block that has the content type bytes and nothing else. */
    public const OF_BYTES = "\x00\x03\x85\x01\x03";

    /** Length of the block of a reply that has a timing and nothing else, in bytes. */
    public const TIMING_LENGTH = 16;

    /** Offset of the timing in such a block. */
    public const TIMING_OFFSET = 4;

    /**
     * @param int    $length  length of the block, in bytes: the body begins behind it
     * @param string $timing  the timing, behind 4 bytes, as in a block with nothing else; '' if
     *                        there is none
     * @param bool   $isBytes whether the body is an envelope and bytes
     */
    private function __construct(
        public readonly int $length,
        public readonly string $timing,
        public readonly bool $isBytes,
    ) {
    }

    /**
     * Parses the block at the begin of a payload.
     *
     * @throws ProtocolException if it is malformed or has an unknown mandatory field
     */
    public static function parse(string $payload): self
    {
        $length = strlen($payload);
        $end = $length < 2 ? PHP_INT_MAX : 2 + unpack('n', $payload)[1];
        $values = [];
        for ($offset = 2; $offset < $end; $offset = $next) {
            $next = $offset + 2 <= $length ? $offset + 2 + ord($payload[$offset + 1]) : PHP_INT_MAX;
            if ($next > $end || $end > $length) {
                throw self::malformed();
            }

            $tag = ord($payload[$offset]);
            if ($tag === self::TIMING || $tag === self::CONTENT_TYPE) {
                if (isset($values[$tag])) {
                    throw self::malformed();
                }
                $values[$tag] = substr($payload, $offset + 2, $next - $offset - 2);
            } elseif (($tag & self::MANDATORY) !== 0) {
                throw self::unsupported($tag);
            }
        }

        $type = $values[self::CONTENT_TYPE] ?? "\x00";
        $timing = $values[self::TIMING] ?? '';
        if (strlen($type) !== 1 || isset($values[self::TIMING]) && strlen($timing) !== 12) {
            throw self::malformed();
        }
        $type = ord($type);
        if ($type !== self::JSON && $type !== self::BYTES) {
            throw self::unsupported(self::CONTENT_TYPE);
        }

        $timing = $timing === '' ? '' : substr($payload, 0, self::TIMING_OFFSET) . $timing;

        return new self($end, $timing, $type === self::BYTES);
    }

    private static function malformed(): ProtocolException
    {
        return new ProtocolException('the peer sent a reply with a malformed extension block');
    }

    private static function unsupported(int $tag): ProtocolException
    {
        $message = sprintf('the peer sent a reply with the unknown mandatory extension %02x', $tag);

        return new ProtocolException($message);
    }
}
