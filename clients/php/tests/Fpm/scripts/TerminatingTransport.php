<?php

declare(strict_types=1);

namespace Jackfield\Tests\Fpm;

use Jackfield\Transport\Transport;

/**
 * Passes one byte at a time, and terminates the request once a number of bytes has passed in total.
 */
final class TerminatingTransport implements Transport
{
    /**
     * @param int    $remaining bytes to pass in both directions together
     * @param string $way       see Support\TerminatedRequests::WAYS
     * @param string $pidFile   receives the process id immediately before the termination; a
     *                          request that ends normally does not write it
     */
    public function __construct(
        private readonly Transport $inner,
        private int $remaining,
        private readonly string $way,
        private readonly string $pidFile,
    ) {
    }

    public function write(string $bytes, int $offset = 0): ?int
    {
        $this->terminateIfDue();
        $written = $this->inner->write($bytes[$offset]);
        $this->remaining -= (int) $written;

        return $written;
    }

    public function read(): ?string
    {
        $this->terminateIfDue();
        $byte = fread($this->inner->stream(), 1);
        $this->remaining -= strlen((string) $byte);

        return $byte === '' && feof($this->inner->stream()) ? null : (string) $byte;
    }

    public function isQuiet(): bool
    {
        $this->terminateIfDue();

        return $this->inner->isQuiet();
    }

    public function wait(bool $orWrite, int $deadline): bool
    {
        $this->terminateIfDue();

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
        // A socket with a history would first exchange a heartbeat, which would move the byte at
        // which the request is terminated.
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

    private function terminateIfDue(): void
    {
        if ($this->remaining > 0) {
            return;
        }

        if ($this->way === 'time') {
            // Before the file is written: setting a limit makes PHP ignore a signal that came
            // earlier.
            set_time_limit(1);
        }

        file_put_contents($this->pidFile . '.new', (string) getmypid());
        rename($this->pidFile . '.new', $this->pidFile);

        switch ($this->way) {
            case 'exit':
                exit;
            case 'fatal':
                // Out of memory is a fatal error, after which no destructor runs.
                ini_set('memory_limit', '16M');
                str_repeat('x', 64 << 20);
                break;
            case 'time':
                // PHP's time limit ends the loop: by the signal of its timer, which the test may
                // send earlier.
                while (true) {
                }
            case 'abort':
                // The HTTP client has closed the connection: PHP ends the request at the next
                // output.
                ignore_user_abort(false);
                while (true) {
                    echo str_repeat('x', 65_536);
                    @ob_flush();
                    flush();
                }
            case 'kill':
                // The test kills the process when it finds the file.
                while (true) {
                    usleep(1_000);
                }
        }

        throw new \LogicException("the request was not terminated by {$this->way}");
    }
}
