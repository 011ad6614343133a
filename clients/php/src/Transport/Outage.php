<?php

declare(strict_types=1);

namespace Jackfield\Transport;

use Jackfield\Process;

use function fclose, intdiv, md5, stream_set_chunk_size, stream_socket_client;

/**
 * Decides whether a call that finds the host down may wait for it.
 *
 * A restart of a host takes a moment, and calls wait for it. If a host stays down, every request of
 * a web server would wait, and all of its workers soon would do nothing else.
 *
 * ```text
 * up ──(a call waited in vain)──► suspected ──(the next call, too)──► down
 * any ──(connected)──► up
 * ```
 *
 * While the host is down, one call a second may wait; the others fail after one attempt to connect.
 *
 * PHP resets static variables after each request of php-fpm. The state therefore also lives in the
 * chunk size of a persistent stream, as the marker of a PersistentTransport does: a UDP socket that
 * never sends, because no other persistent stream can be opened without a peer. It exists only
 * after a call has waited in vain. Its address contains the process, so that a child begins in the
 * state `up`.
 *
 * @internal
 */
final class Outage
{
    /** Time between two calls that may wait, in milliseconds. */
    private const TRIAL_INTERVAL = 1_000;

    private const UP = 0;
    private const SUSPECTED = 1;
    private const DOWN = 2;

    /** Bits of a state that hold an instant in milliseconds, modulo 74 hours. */
    private const INSTANT = 0x0FFFFFFF;

    /** Bits of a state below the two that hold UP, SUSPECTED or DOWN. */
    private const SHIFT = 28;

    /** Bit that distinguishes a stored state from an ordinary chunk size. */
    private const STORED = 0x40000000;

    /** @var array<string, int> states by key */
    private static array $states = [];

    private readonly string $address;

    public function __construct(string $address)
    {
        $this->address = md5($address);
    }

    /**
     * Returns whether a call that has found the host down may wait for it.
     *
     * @param int $now the current hrtime(true)
     */
    public function mayWait(int $now): bool
    {
        $state = $this->load();
        if ($state >> self::SHIFT !== self::DOWN) {
            return true;
        }

        if (self::millisSince($state, $now) < self::TRIAL_INTERVAL) {
            return false;
        }
        $this->store(self::DOWN, $now);

        return true;
    }

    /**
     * Records that a call has waited in vain.
     *
     * Calls that waited at the same time count as one.
     *
     * @param int $started when the call began to wait, as hrtime(true)
     * @param int $now     the current hrtime(true)
     */
    public function recordWait(int $started, int $now): void
    {
        $state = $this->load();
        $waited = intdiv($now - $started, 1_000_000);

        match ($state >> self::SHIFT) {
            self::UP => $this->store(self::SUSPECTED, $now),
            self::SUSPECTED => self::millisSince($state, $now) >= $waited ? $this->store(self::DOWN, $now) : null,
            default => null,
        };
    }

    /**
     * Records that connecting has succeeded.
     */
    public function clear(): void
    {
        if ($this->load() !== 0) {
            $this->store(self::UP, 0);
        }
    }

    private static function millisSince(int $state, int $now): int
    {
        return intdiv($now, 1_000_000) - $state & self::INSTANT;
    }

    private function load(): int
    {
        $key = $this->key();
        if (!isset(self::$states[$key])) {
            self::$states[$key] = $this->exchange($key, null);
        }

        return self::$states[$key];
    }

    private function store(int $phase, int $now): void
    {
        $key = $this->key();
        $state = $phase << self::SHIFT | (intdiv($now, 1_000_000) & self::INSTANT);
        self::$states[$key] = $phase === self::UP ? 0 : $state;
        $this->exchange($key, self::$states[$key]);
    }

    private function key(): string
    {
        return Process::id() . "-{$this->address}";
    }

    /**
     * Replaces the state in the persistent stream and returns the previous one.
     *
     * @param int|null $state 0 closes the stream; null leaves it as it is
     */
    private function exchange(string $key, ?int $state): int
    {
        if (PHP_SAPI === 'cli') {
            // Static variables live as long as the process.
            return 0;
        }

        // Without STREAM_CLIENT_CONNECT, a missing stream is created without a socket.
        $flags = STREAM_CLIENT_PERSISTENT | ($state === null || $state === 0 ? 0 : STREAM_CLIENT_CONNECT);
        $address = "udp://127.0.0.1:9/jackfield-$key";
        $stream = Warnings::silenced(
            static fn () => stream_socket_client($address, $code, $text, 0.0, $flags),
        );
        if ($stream === false) {
            return 0;
        }

        $previous = stream_set_chunk_size($stream, self::STORED);
        $isStored = ($previous & self::STORED) !== 0;
        $next = $state ?? ($isStored ? $previous : 0);
        if ($next === 0) {
            fclose($stream);
        } else {
            stream_set_chunk_size($stream, $next | self::STORED);
        }

        return $isStored ? $previous & ~self::STORED : 0;
    }
}
