<?php

/**
 * Persistent sockets under which a request dies, and persistent sockets without any care, to show what they do.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Fpm;

use Jackfield\Transport\Connector;
use Jackfield\Transport\StreamTransport;
use Jackfield\Transport\Transport;

/** Makes connections whose owner dies. */
final class DyingConnector implements Connector
{
    public function __construct(
        private readonly Connector $connector,
        private readonly int $at,
        private readonly string $how,
        private readonly string $obituary,
    ) {
    }

    public function connect(): Transport
    {
        return new DyingTransport($this->connector->connect(), $this->at, $this->how, $this->obituary);
    }

    public function address(): string
    {
        return $this->connector->address();
    }
}

/** Lets bytes through one at a time, and ends the request once so many have passed in either direction. */
final class DyingTransport implements Transport
{
    /** @param string $obituary the file that says who dies, written just before: a survivor leaves none */
    public function __construct(
        private readonly Transport $inner,
        private int $left,
        private readonly string $how,
        private readonly string $obituary,
    ) {
    }

    public function write(string $bytes, int $offset = 0): ?int
    {
        $this->dieIfDue();
        $written = $this->inner->write($bytes[$offset]);
        $this->left -= (int) $written;

        return $written;
    }

    public function read(): ?string
    {
        $this->dieIfDue();
        $byte = fread($this->inner->stream(), 1);
        $this->left -= strlen((string) $byte);

        return $byte === '' && feof($this->inner->stream()) ? null : (string) $byte;
    }

    public function isQuiet(): bool
    {
        $this->dieIfDue();

        return $this->inner->isQuiet();
    }

    public function wait(bool $orWrite, int $deadline): bool
    {
        $this->dieIfDue();

        return $this->inner->wait($orWrite, $deadline);
    }

    public function stream()
    {
        return $this->inner->stream();
    }

    public function begin(): bool
    {
        return $this->inner->begin();
    }

    public function end(): void
    {
        $this->inner->end();
    }

    public function hasHistory(): bool
    {
        // The heartbeat that a socket with a history gets at first would move the byte at which the request dies.
        return false;
    }

    public function close(): void
    {
        $this->inner->close();
    }

    public function leave(): void
    {
        $this->inner->leave();
    }

    private function dieIfDue(): void
    {
        if ($this->left > 0) {
            return;
        }
        file_put_contents($this->obituary . '.new', (string) getmypid());
        rename($this->obituary . '.new', $this->obituary);
        switch ($this->how) {
            case 'exit':
                exit;
            case 'fatal':
                // Out of memory: a fatal error, after which no destructor runs.
                ini_set('memory_limit', '16M');
                str_repeat('x', 64 << 20);
                break;
            case 'time':
                // Until PHP's own time limit ends the request: its timer's signal, which the test may send earlier.
                set_time_limit(1);
                while (true) {
                }
            case 'abort':
                // The visitor has gone: PHP ends the request at the next output.
                ignore_user_abort(false);
                while (true) {
                    echo str_repeat('x', 65_536);
                    @ob_flush();
                    flush();
                }
            case 'kill':
                // Whoever reads the obituary kills the process.
                while (true) {
                    usleep(1_000);
                }
        }
        throw new \LogicException("the request survived {$this->how}");
    }
}

/** What many programs do: a persistent socket, used as it is found. */
final class NaiveConnector implements Connector
{
    public function __construct(private readonly string $address)
    {
    }

    public function connect(): Transport
    {
        $stream = stream_socket_client(
            $this->address,
            $code,
            $text,
            1.0,
            STREAM_CLIENT_CONNECT | STREAM_CLIENT_PERSISTENT
        );

        return new class ($stream) extends StreamTransport {
            public function close(): void
            {
            }
        };
    }

    public function address(): string
    {
        return $this->address;
    }
}
