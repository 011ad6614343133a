<?php

declare(strict_types=1);

namespace Jackfield\Transport;

/**
 * The byte stream of one connection: the operations of a socket that the client uses.
 *
 * A fake for tests implements this interface.
 */
interface Transport
{
    /**
     * Writes as many bytes, starting at `$offset`, as can be written without waiting.
     *
     * @return int|null number of bytes written, 0 if the peer has to read first; null if the peer
     *                  has closed the connection
     */
    public function write(string $bytes, int $offset = 0): ?int;

    /**
     * Returns the received bytes without waiting.
     *
     * @return string|null '' if no bytes are available; null if the peer has closed the connection
     */
    public function read(): ?string;

    /**
     * Returns whether no bytes are available and the peer has not closed the connection.
     *
     * Consumes nothing.
     */
    public function isQuiet(): bool;

    /**
     * Waits until the stream is readable (or writable, if `$orWrite`).
     *
     * @param int $deadline an instant of hrtime(true), in nanoseconds
     *
     * @return bool false if the deadline passed first
     */
    public function wait(bool $orWrite, int $deadline): bool;

    /**
     * Returns the stream to pass to stream_select().
     *
     * @return resource
     */
    public function stream();

    /**
     * Starts an exchange. Called before its first byte, on an idle connection.
     *
     * @return bool false if the connection must not be used; the caller then calls close()
     */
    public function begin(): bool;

    /**
     * Ends an exchange. Called after its last byte: no reply is outstanding and no byte is unread.
     */
    public function end(): void;

    /**
     * Returns whether an earlier owner used this connection, so that its idle time is unknown.
     */
    public function hasHistory(): bool;

    /**
     * Closes the connection.
     */
    public function close(): void;

    /**
     * Leaves an idle connection to the next owner if it is persistent; closes it otherwise.
     */
    public function leave(): void;
}
