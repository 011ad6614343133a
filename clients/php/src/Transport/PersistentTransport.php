<?php

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Process;

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
 * read, or if it is new. A request that is terminated between begin() and end() leaves no marker.
 * Code that uses the socket without this class leaves a marker that does not match the position. In
 * both cases the socket is closed and never used again.
 *
 * The marker also contains the id of the process. A child inherits the sockets of its parent with
 * their markers; these do not match in the child, which closes its copies without a read or write.
 *
 * @internal
 */
final class PersistentTransport extends StreamTransport
{
    /** Chunk size of a new stream: PHP's default. */
    private const NEW = 8_192;

    /** Chunk size of a stream without a marker: not that of a new one. */
    private const NO_MARKER = 8_193;

    /** Bit set in every marker. No default and no ordinary chunk size has it. */
    private const MARKER_BIT = 0x40000000;

    /** Bits of position and process that a marker holds. */
    private const MASK = 0x3FFFFFFF;

    /**
     * Factor of the process id in a marker.
     *
     * It is odd, so that two processes never have the same marker at the same position.
     */
    private const PROCESS_FACTOR = 0x9E3779B1;

    /**
     * @param resource         $stream   a persistent stream
     * @param \Closure(): void $freeSlot called when this owner no longer uses the slot
     */
    public function __construct($stream, private readonly \Closure $freeSlot)
    {
        parent::__construct($stream);
    }

    /**
     * Returns whether the socket is new, or was left clean by this process and has not been used
     * since.
     */
    public function isClean(): bool
    {
        $position = ftell($this->stream);
        $marker = stream_set_chunk_size($this->stream, self::NO_MARKER);
        $isNew = $position === 0 && $marker === self::NEW;
        if (!$isNew && $marker !== $this->marker()) {
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
        return is_resource($this->stream)
            && stream_set_chunk_size($this->stream, self::NO_MARKER) === $this->marker();
    }

    public function end(): void
    {
        stream_set_chunk_size($this->stream, $this->marker());
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

    private function marker(): int
    {
        return self::MARKER_BIT
            | (ftell($this->stream) + Process::$last * self::PROCESS_FACTOR & self::MASK);
    }
}
