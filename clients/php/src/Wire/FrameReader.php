<?php

declare(strict_types=1);

namespace Jackfield\Wire;

use Jackfield\Exception\ProtocolException;

use function implode, max, ord, strlen, substr, unpack;

/**
 * Splits a byte stream into frames, regardless of how the bytes were divided into reads.
 *
 * The reader does no I/O: push() takes received bytes, next() moves to the next complete frame.
 *
 * @internal
 */
final class FrameReader
{
    /** Consumed bytes are removed from the front of the buffer once there are this many. */
    private const COMPACT_AT = 65_536;

    /**
     * Size of the chunks in which a large frame is collected, in bytes.
     *
     * A frame that lacks more than one chunk is collected in chunks and joined once. Appending to
     * one string would copy all of it again and again.
     */
    private const CHUNK = 65_536;

    /** Kind of the frame that next() found. */
    public int $kind = 0;

    /** Payload of the frame that next() found. */
    public string $payload = '';

    private string $buffer = '';
    private int $offset = 0;

    /** Payload bytes of the frame whose header has been read; -1 if no header has been read. */
    private int $announced = -1;

    /** Bytes that a large frame still lacks. While positive, push() collects chunks. */
    private int $missing = 0;

    /** @var list<string> */
    private array $chunks = [];

    private string $chunk = '';

    /** @param int $maxPayload largest payload that is accepted, in bytes */
    public function __construct(private readonly int $maxPayload)
    {
    }

    /**
     * Takes received bytes.
     *
     * Memory grows with the bytes received, never with the length that a header announces.
     */
    public function push(string $bytes): void
    {
        if ($this->missing === 0) {
            $this->buffer .= $bytes;

            return;
        }

        $this->missing = max(0, $this->missing - strlen($bytes));
        $this->chunk .= $bytes;

        if ($this->missing === 0) {
            $this->buffer = implode('', $this->chunks) . $this->chunk;
            $this->chunks = [];
            $this->chunk = '';
        } elseif (strlen($this->chunk) >= self::CHUNK) {
            $this->chunks[] = $this->chunk;
            $this->chunk = '';
        }
    }

    /**
     * Moves to the next complete frame and sets `kind` and `payload`.
     *
     * @return bool false if bytes are missing
     *
     * @throws ProtocolException for an unknown framing or a payload above the limit; the position
     *                           of the next frame is then unknown
     */
    public function next(): bool
    {
        if ($this->missing > 0) {
            return false;
        }

        $available = strlen($this->buffer) - $this->offset;
        if ($this->announced >= 0) {
            $length = $this->announced;
            $this->announced = -1;
        } else {
            if ($available < Header::LENGTH) {
                return false;
            }
            if ($this->buffer[$this->offset] !== Header::FRAMING) {
                throw Header::unknownFraming($this->buffer, $this->offset);
            }

            // An unknown low byte of the version is read as the highest known version, so the
            // reader does not look at it.
            $this->kind = ord($this->buffer[$this->offset + 2]);
            $length = unpack('N', $this->buffer, $this->offset + 3)[1];
            if ($length > $this->maxPayload) {
                throw new ProtocolException(
                    "the peer announced a payload of $length bytes, but at most {$this->maxPayload} are accepted"
                    . ' (raise the option maxFrameBytes)'
                );
            }
        }

        $frameLength = Header::LENGTH + $length;
        if ($available < $frameLength) {
            $this->announced = $length;
            if ($frameLength - $available > self::CHUNK) {
                $this->chunks = [substr($this->buffer, $this->offset)];
                $this->buffer = '';
                $this->offset = 0;
                $this->missing = $frameLength - $available;
            }

            return false;
        }

        $this->payload = substr($this->buffer, $this->offset + Header::LENGTH, $length);
        if ($available === $frameLength) {
            $this->buffer = '';
            $this->offset = 0;
        } else {
            $this->offset += $frameLength;
            if ($this->offset >= self::COMPACT_AT) {
                $this->buffer = substr($this->buffer, $this->offset);
                $this->offset = 0;
            }
        }

        return true;
    }

    /**
     * Returns whether the stream is between two frames, with no received byte left over.
     */
    public function isEmpty(): bool
    {
        return $this->buffer === '' && $this->missing === 0;
    }
}
