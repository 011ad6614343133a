<?php

declare(strict_types=1);

namespace Jackfield\Wire;

use function ord, pack, preg_match, str_contains, str_starts_with, strlen, substr, unpack;

/**
 * The hello: the payload of a heartbeat with which a client asks for what version 1.2 of the
 * protocol adds.
 *
 * A host of version 1.0 or 1.1 answers it like any heartbeat. No time-out is needed to find out
 * which version a host speaks.
 *
 * @internal
 */
final class Hello
{
    /** Capability: frames of version 1.2 and their extension block. */
    public const BLOCK = 1;

    /** Capability: the client may cancel requests. */
    public const CANCEL = 1 << 2;

    /** Capability: replies contain a timing. */
    public const TIMING = 1 << 11;

    /** Capability: the host announces its shutdown. */
    public const GOING_AWAY = 1 << 12;

    /** Magic and layout, with which every hello begins. */
    private const BEGIN = "IPC2\x01";

    /** Flag of an acknowledgement. A peer that echoes does not set it. */
    private const ACK = 0x01;

    /** Length of the part before the fields, and of a whole hello at most, in bytes. */
    private const FIXED_LENGTH = 32;
    private const MAX_LENGTH = 1_024;

    private const AGENT = "\x01";
    private const CONTENT_TYPES = "\x03";
    private const BYTES = "\x03";
    private const NAME = 'jackfield-php/0.1.0';

    /** The frame before and behind the nonce. */
    private readonly string $head;
    private readonly string $tail;

    /**
     * @param int $maxPayload  largest payload that the client accepts, in bytes
     * @param int $maxInFlight most requests in flight that the client wishes for
     */
    public function __construct(int $maxPayload, int $maxInFlight, bool $wishesTiming)
    {
        $wish = self::BLOCK | self::CANCEL | self::GOING_AWAY | ($wishesTiming ? self::TIMING : 0);
        $this->tail = self::field(self::AGENT, self::NAME) . self::field(self::CONTENT_TYPES, self::BYTES);

        // Version 1.0, like the heartbeat of a client that says no hello.
        $this->head = "\x01\x00\x02" . pack('N', self::FIXED_LENGTH + strlen($this->tail))
            . self::BEGIN . "\x00" . pack('nJNN', 0x0102, $wish, $maxPayload, $maxInFlight);
    }

    /**
     * Returns the frame of a hello.
     *
     * @param string $nonce 8 bytes that no earlier hello on this socket contained
     */
    public function frame(string $nonce): string
    {
        return $this->head . $nonce . $this->tail;
    }

    /**
     * Decodes the answer to a hello.
     *
     * @return Grant|null null for an empty, echoed or unreadable answer, which a host of version
     *                    1.0 or 1.1 sends
     */
    public static function answer(string $payload): ?Grant
    {
        $length = strlen($payload);
        if (
            $length < self::FIXED_LENGTH || $length > self::MAX_LENGTH || !str_starts_with($payload, self::BEGIN)
            || (ord($payload[5]) & self::ACK) === 0
        ) {
            return null;
        }

        $types = null;
        for ($offset = self::FIXED_LENGTH; $offset < $length; $offset += 3 + $size) {
            $size = $offset + 3 <= $length ? unpack('n', $payload, $offset + 1)[1] : self::MAX_LENGTH;
            $value = substr($payload, $offset + 3, $size);
            if (strlen($value) < $size || $payload[$offset] === self::AGENT && preg_match('//u', $value) !== 1) {
                return null;
            }
            if ($payload[$offset] === self::CONTENT_TYPES) {
                $types ??= $value;
            }
        }

        [1 => $capabilities] = unpack('J', $payload, 8);
        [1 => $maxInFlight] = unpack('N', $payload, 20);
        [1 => $maxPayload] = unpack('N', $payload, 16);
        $nonce = substr($payload, 24, 8);
        $hasBytes = $types !== null && str_contains($types, self::BYTES) && ($capabilities & self::BLOCK) !== 0;

        return new Grant($nonce, $capabilities, $maxPayload, $maxInFlight, $hasBytes);
    }

    private static function field(string $tag, string $value): string
    {
        return $tag . pack('n', strlen($value)) . $value;
    }
}
