<?php

/**
 * Turns the bytes of a stream into frames, however the bytes were cut. It does no input itself.
 */

declare(strict_types=1);

namespace Jackfield\Wire;

use Jackfield\Exception\ProtocolException;

use function implode, max, ord, strlen, substr, unpack;

final class FrameReader
{
    /** Consumed bytes are cut off the front of the buffer once there are this many of them. */
    private const COMPACT_AT = 65_536;

    /**
     * A frame that lacks more than this many bytes is collected in pieces of this size and put together once: growing
     * one string would copy all of it, again and again.
     */
    private const PIECE = 65_536;

    /** The kind of the frame that next() found. */
    public int $kind = 0;
    /** The payload of the frame that next() found. */
    public string $payload = '';

    private string $buffer = '';
    private int $offset = 0;
    /** Payload bytes of the frame whose header has been read; -1 before a header. */
    private int $expected = -1;
    /** Bytes that a large frame still lacks; while there are any, what comes is collected in pieces. */
    private int $lacking = 0;
    /** @var list<string> */
    private array $pieces = [];
    private string $piece = '';

    /** @param int $limit the largest payload taken, in bytes */
    public function __construct(private readonly int $limit)
    {
    }

    /** Takes bytes as they came. Memory grows with what was received, never with what a header announces. */
    public function push(string $bytes): void
    {
        if ($this->lacking === 0) {
            $this->buffer .= $bytes;

            return;
        }
        $this->lacking = max(0, $this->lacking - strlen($bytes));
        $this->piece .= $bytes;
        if ($this->lacking === 0) {
            $this->buffer = implode('', $this->pieces) . $this->piece;
            $this->pieces = [];
            $this->piece = '';
        } elseif (strlen($this->piece) >= self::PIECE) {
            $this->pieces[] = $this->piece;
            $this->piece = '';
        }
    }

    /**
     * Moves to the next whole frame: true, and kind and payload are its own; false when bytes are missing.
     *
     * @throws ProtocolException for another framing or a payload above the limit; the stream is then out of step
     */
    public function next(): bool
    {
        if ($this->lacking > 0) {
            return false;
        }
        $there = strlen($this->buffer) - $this->offset;
        if ($this->expected >= 0) {
            $length = $this->expected;
            $this->expected = -1;
        } else {
            if ($there < Header::LENGTH) {
                return false;
            }
            if ($this->buffer[$this->offset] !== Header::FRAMING) {
                throw Header::foreign($this->buffer, $this->offset);
            }
            // An unknown low byte of the version is read as the highest version known, so nothing depends on it.
            $this->kind = ord($this->buffer[$this->offset + 2]);
            $length = unpack('N', $this->buffer, $this->offset + 3)[1];
            if ($length > $this->limit) {
                throw new ProtocolException(
                    "the peer announced a payload of $length bytes; the limit here is {$this->limit}"
                );
            }
        }
        $whole = Header::LENGTH + $length;
        if ($there < $whole) {
            $this->expected = $length;
            if ($whole - $there > self::PIECE) {
                $this->pieces = [substr($this->buffer, $this->offset)];
                $this->buffer = '';
                $this->offset = 0;
                $this->lacking = $whole - $there;
            }

            return false;
        }
        $this->payload = substr($this->buffer, $this->offset + Header::LENGTH, $length);
        if ($there === $whole) {
            $this->buffer = '';
            $this->offset = 0;
        } else {
            $this->offset += $whole;
            if ($this->offset >= self::COMPACT_AT) {
                $this->buffer = substr($this->buffer, $this->offset);
                $this->offset = 0;
            }
        }

        return true;
    }

    /** Whether the stream stands between two frames, so that nothing received is left over. */
    public function isEmpty(): bool
    {
        return $this->buffer === '' && $this->lacking === 0;
    }
}
