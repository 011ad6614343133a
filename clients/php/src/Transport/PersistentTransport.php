<?php

declare(strict_types=1);

namespace Jackfield\Transport;

/**
 * A socket that outlives the request, with a marker that shows whether the next owner may use it.
 *
 * A request can end at any point: by exit, by a time limit, by a fatal error. It may leave a socket
 * on which a reply is still to arrive, and the next request would take that reply for its own.
 * The socket therefore carries a clean marker. The marker consists of two properties of the stream
 * itself, which survive the request without a file and without shared memory:
 *
 * - the position of the stream, which PHP advances by every byte written to or read from the socket
 *   and which no script can set back;
 * - the chunk size of the stream, a number that only stream_set_chunk_size() changes and that has
 *   no effect on an unbuffered stream.
 *
 * end() writes the position into the chunk size: the stream is clean at this position, no reply is
 * outstanding and no byte is unread. begin() clears the marker before the first byte of an
 * exchange. A socket is clean if the marker matches the current position and no byte waits to be
 * read, or if no byte was ever transferred. A request that is terminated between begin() and end()
 * leaves no marker. Code that uses the socket without this class leaves a marker that does not
 * match the position. In both cases the socket is closed and never used again.
 *
 * @internal
 */
final class PersistentTransport extends StreamTransport
{
    /** Chunk size of a stream without a marker: PHP's default. */
    private const NO_MARKER = 8_192;

    /** Bit set in every marker. No default and no ordinary chunk size has it. */
    private const MARKER_BIT = 0x40000000;

    /** Bits of the position that a marker holds. */
    private const POSITION_MASK = 0x3FFFFFFF;

    /**
     * @param resource         $stream   a persistent stream
     * @param \Closure(): void $freeSlot called when this owner no longer uses the slot
     */
    public function __construct($stream, private readonly \Closure $freeSlot)
    {
        parent::__construct($stream);
    }

    /**
     * Returns whether the socket is new, or was left clean and has not been used since.
     */
    public function isClean(): bool
    {
        $position = ftell($this->stream);
        $marker = stream_set_chunk_size($this->stream, self::NO_MARKER);
        if ($position !== 0 && $marker !== (self::MARKER_BIT | ($position & self::POSITION_MASK))) {
            return false;
        }

        // No byte may wait to be read; null means that the peer has closed the connection.
        if ($this->read() !== '') {
            return false;
        }

        $this->end();

        return true;
    }

    public function begin(): bool
    {
        return stream_set_chunk_size($this->stream, self::NO_MARKER)
            === (self::MARKER_BIT | (ftell($this->stream) & self::POSITION_MASK));
    }

    public function end(): void
    {
        stream_set_chunk_size($this->stream, self::MARKER_BIT | (ftell($this->stream) & self::POSITION_MASK));
    }

    public function hasHistory(): bool
    {
        return ftell($this->stream) !== 0;
    }

    public function close(): void
    {
        if (is_resource($this->stream)) {
            // fclose() closes a persistent socket, too. PHP keeps a socket only if fclose() is not
            // called.
            parent::close();
            ($this->freeSlot)();
        }
    }

    public function leave(): void
    {
        ($this->freeSlot)();
    }
}
