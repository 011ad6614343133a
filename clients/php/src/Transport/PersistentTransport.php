<?php

/**
 * A socket that outlives the request, and the seal that tells the next owner whether it may be used.
 *
 * A request can end anywhere: exit, a time limit, a fatal error. What it leaves is a socket on which a reply may
 * still come, and the next request would take that reply for its own. So the socket carries a seal, made of two
 * things that live in the stream itself and therefore survive the request, with no file and no shared memory:
 *
 * - the stream's position, which PHP moves on by every byte written to or read from the socket, and which no script
 *   can set back;
 * - the stream's chunk size, a number that only stream_set_chunk_size() changes and that has no effect on an
 *   unbuffered stream.
 *
 * end() writes the position into the chunk size: sealed here, with nothing owed and nothing unread. begin() breaks
 * the seal before the first byte of an exchange. A socket is sound if it is sealed at the very position where it
 * stands and no byte waits to be read, or if no byte ever went through it. Whoever dies between begin() and end()
 * leaves a broken seal, and code that uses the same socket without knowing about seals leaves a position that does
 * not match. Both are closed, never used.
 */

declare(strict_types=1);

namespace Jackfield\Transport;

final class PersistentTransport extends StreamTransport
{
    /** The chunk size while a seal is broken: PHP's own default. */
    private const BROKEN = 8_192;
    /** Set in every seal, so that no default and no ordinary chunk size looks like one. */
    private const SEAL = 0x40000000;
    private const POSITION = 0x3FFFFFFF;

    /**
     * @param resource $stream a persistent stream
     * @param \Closure(): void $free gives the slot back
     */
    public function __construct($stream, private readonly \Closure $free)
    {
        parent::__construct($stream);
    }

    /** Whether this socket was left at rest by its last owner and has stayed so since, or is new. */
    public function isSound(): bool
    {
        $position = ftell($this->stream);
        $sealed = stream_set_chunk_size($this->stream, self::BROKEN);
        if ($position !== 0 && $sealed !== (self::SEAL | ($position & self::POSITION))) {
            return false;
        }
        // Nothing may wait to be read; null would be the end of the connection.
        if ($this->read() !== '') {
            return false;
        }
        $this->end();

        return true;
    }

    public function begin(): bool
    {
        return stream_set_chunk_size($this->stream, self::BROKEN)
            === (self::SEAL | (ftell($this->stream) & self::POSITION));
    }

    public function end(): void
    {
        stream_set_chunk_size($this->stream, self::SEAL | (ftell($this->stream) & self::POSITION));
    }

    public function hasHistory(): bool
    {
        return ftell($this->stream) !== 0;
    }

    public function close(): void
    {
        if (is_resource($this->stream)) {
            // fclose() ends a persistent socket too; only not calling it keeps one.
            parent::close();
            ($this->free)();
        }
    }

    public function leave(): void
    {
        ($this->free)();
    }
}
