<?php

/**
 * One connection's bytes: what the client needs of a socket, and all that a fake has to provide.
 */

declare(strict_types=1);

namespace Jackfield\Transport;

interface Transport
{
    /**
     * Hands over as many bytes from `$offset` on as can be taken without waiting.
     *
     * @return int|null bytes taken, 0 when the peer has to read first; null when the peer has gone
     */
    public function write(string $bytes, int $offset = 0): ?int;

    /**
     * What has come, without waiting.
     *
     * @return string|null '' when nothing is there; null when the peer has ended the connection
     */
    public function read(): ?string;

    /** Whether nothing has come and the peer has not ended the connection: one look, which takes nothing away. */
    public function isQuiet(): bool;

    /**
     * Waits until something can be read (or written, if `$orWrite`).
     *
     * @param int $deadline an instant of hrtime(true), nanoseconds
     * @return bool false when the deadline passed first
     */
    public function wait(bool $orWrite, int $deadline): bool;

    /**
     * The stream to wait for in stream_select().
     *
     * @return resource
     */
    public function stream();

    /**
     * Called before the first byte of an exchange on a connection that was at rest.
     *
     * @return bool false when the connection must not be used: close() it
     */
    public function begin(): bool;

    /** Called after the last byte of an exchange: nothing is owed either way, nothing is left unread. */
    public function end(): void;

    /** Whether an earlier owner used this connection, so that it is not known for how long it has been idle. */
    public function hasHistory(): bool;

    public function close(): void;

    /** Leaves a connection at rest to whoever comes next, where there can be one; else closes it. */
    public function leave(): void;
}
