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

    private const REFUSING = -1;

    /** Bytes of a refused payload that are kept. They hold the id if the peer writes it first. */
    private const HEAD = 1_024;

    /** Factor of the limit up to which a payload is read and dropped (protocol, section 1). */
    private const DISCARD_FACTOR = 4;

    /** Kind of the frame that next() found. */
    public int $kind = 0;

    /** Payload of the frame that next() found; only its head if `refusedBytes` is not 0. */
    public string $payload = '';

    /** Whether frames may have an extension block, because the host granted it. */
    public bool $acceptsBlocks = false;

    /** Whether the payload of that frame is an envelope and bytes. */
    public bool $isBytes = false;

    /** Extension block of the last frame that had one, with its timing; '' if it had none. */
    public string $timing = '';

    /** Length of the payload in bytes if it is above the limit; 0 for any other frame. */
    public int $refusedBytes = 0;

    private string $buffer = '';
    private int $offset = 0;

    /** Payload bytes of the frame whose header has been read; -1 if no header has been read. */
    private int $announced = -1;

    /**
     * Bytes that a large frame still lacks. While positive, push() collects chunks.
     *
     * It is REFUSING while the payload of a refused frame is dropped, and until the next frame.
     */
    private int $missing = 0;

    /** @var list<string> */
    private array $chunks = [];

    private string $chunk = '';

    /** Payload bytes of a refused frame that have not arrived. */
    private int $toDiscard = 0;

    /** Head of the refused payload. */
    private string $head = '';

    /** Length of the payload that is being refused, in bytes. */
    private int $discarded = 0;

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
        if ($this->missing === self::REFUSING) {
            $this->buffer .= $this->discard($bytes);

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
     * A payload above the limit is read and dropped, except for its head (`refusedBytes`).
     *
     * @return bool false if bytes are missing
     *
     * @throws ProtocolException for an unknown framing or a payload above four times the limit; the
     *                           position of the next frame is then unknown
     */
    public function next(): bool
    {
        if ($this->missing !== 0 && $this->lacksBytes()) {
            return $this->refusedBytes > 0;
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
                return $this->refuse($length);
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

        $start = $this->offset + Header::LENGTH;
        if ($this->acceptsBlocks) {
            $kind = $this->kind;
            $this->isBytes = false;
            if ($kind > 0x7F) {
                $block = substr($this->buffer, $start, Block::TIMING_LENGTH);
                if (
                    $length >= Block::TIMING_LENGTH
                    && $block[1] === "\x0E" && $block[0] === "\x00" && $block[2] === "\x0E"
                ) {
                    // The block that nearly every reply has: a timing and nothing else.
                    $this->timing = $block;
                    $this->kind = $kind - 0x80;
                    $blockLength = Block::TIMING_LENGTH;
                } else {
                    $block = substr($this->buffer, $start, $length);
                    $blockLength = $this->readBlock($block);
                }
                $start += $blockLength;
                $length -= $blockLength;
            }
        }

        $this->payload = substr($this->buffer, $start, $length);
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
        return $this->buffer === ''
            && ($this->missing === 0 || $this->missing === self::REFUSING && $this->refusedBytes > 0);
    }

    /**
     * Reads the extension block of a payload.
     *
     * @return int length of the block, in bytes; 0 for a kind that has none
     */
    private function readBlock(string $payload): int
    {
        if (!isset(Block::KINDS[$this->kind])) {
            return 0;
        }

        $block = Block::parse($payload);
        $this->kind = Block::KINDS[$this->kind];
        $this->timing = $block->timing;
        $this->isBytes = $block->isBytes;

        return $block->length;
    }

    /** Starts to drop the payload of the frame at the offset. */
    private function refuse(int $length): bool
    {
        if ($length > $this->maxPayload * self::DISCARD_FACTOR) {
            throw new ProtocolException(
                "a frame announces a payload of $length bytes, which is too large to be read and dropped: the limit is"
                . " {$this->maxPayload} bytes (raise the option maxFrameBytes)"
            );
        }

        $received = substr($this->buffer, $this->offset + Header::LENGTH);
        $this->offset = 0;
        $this->head = '';
        $this->discarded = $length;
        $this->toDiscard = $length;
        $this->missing = self::REFUSING;
        $this->buffer = $this->discard($received);

        return $this->lacksBytes() && $this->refusedBytes > 0;
    }

    /** Drops received bytes of the refused payload and returns those that follow it. */
    private function discard(string $bytes): string
    {
        $part = substr($bytes, 0, $this->toDiscard);
        $this->head .= substr($part, 0, self::HEAD - strlen($this->head));
        $this->toDiscard -= strlen($part);

        return substr($bytes, strlen($part));
    }

    /**
     * Returns whether next() cannot look for a header: a large frame is incomplete, or a refused
     * frame is. A refused frame that has become complete is the next frame.
     */
    private function lacksBytes(): bool
    {
        if ($this->missing === self::REFUSING && $this->refusedBytes > 0) {
            // The refused frame was the previous one.
            $this->refusedBytes = 0;
            $this->missing = 0;

            return false;
        }

        if ($this->missing === self::REFUSING && $this->toDiscard === 0) {
            $this->isBytes = false;
            if ($this->acceptsBlocks) {
                $offset = $this->readBlock($this->head);
                // The envelope of a reply with bytes follows its length.
                $offset += $this->isBytes ? 4 : 0;
                $this->head = substr($this->head, $offset);
            }
            $this->payload = $this->head;
            $this->refusedBytes = $this->discarded;
        }

        return true;
    }
}
