<?php

/**
 * What the client writes to a PSR-3 logger, if it was given one.
 */

declare(strict_types=1);

namespace Jackfield;

use Psr\Log\LoggerInterface;

use function error_log, hrtime, round;

final class Log
{
    /** Whether anybody reads it: without, nothing has to be timed and put together for it at every call. */
    public readonly bool $isKept;

    public function __construct(private readonly ?LoggerInterface $logger)
    {
        $this->isKept = $logger !== null;
    }

    public function asyncSent(string $id, string $method): void
    {
        $this->write('debug', 'async request sent', ['async_request_id' => $id, 'method' => $method]);
    }

    /** @param int $started when the call began, as hrtime(true) */
    public function asyncDone(string $id, string $method, int $started, ?\Throwable $failure): void
    {
        $context = [
            'async_request_id' => $id,
            'method' => $method,
            'duration_ms' => self::since($started),
        ];
        $failure === null
            ? $this->write('info', 'async request answered', $context)
            : $this->write('warning', 'async request failed', $context + ['exception' => $failure]);
    }

    /** @param int $started when the call began, as hrtime(true) */
    public function syncDone(string $id, string $method, int $started, ?\Throwable $failure): void
    {
        $context = ['id' => $id, 'method' => $method, 'duration_ms' => self::since($started)];
        $failure === null
            ? $this->write('debug', 'request answered', $context)
            : $this->write('warning', 'request failed', $context + ['exception' => $failure]);
    }

    public function connectFailed(string $address, \Throwable $failure, int $attempt): void
    {
        $this->write('notice', 'connecting failed', [
            'address' => $address,
            'attempt' => $attempt,
            'exception' => $failure,
        ]);
    }

    public function retrying(string $id, string $method, int $tries, \Throwable $failure): void
    {
        $this->write('notice', 'request is sent again', [
            'id' => $id,
            'method' => $method,
            'tries' => $tries,
            'exception' => $failure,
        ]);
    }

    /** A reply that no call waits for: late, doubled, or not ours. */
    public function strayReply(?string $id, bool $late): void
    {
        $this->write($late ? 'debug' : 'warning', $late ? 'late reply ignored' : 'unknown reply ignored', ['id' => $id]);
    }

    /** An exception out of a caller's callback. Without a logger it goes where PHP's own errors go. */
    public function callbackThrew(string $id, \Throwable $exception): void
    {
        if ($this->logger === null) {
            error_log("jackfield: the callback of request $id threw $exception");

            return;
        }
        $this->write('error', 'callback threw', ['async_request_id' => $id, 'exception' => $exception]);
    }

    /** @param array<string, mixed> $context */
    private function write(string $level, string $text, array $context): void
    {
        try {
            $this->logger?->log($level, $text, $context);
        } catch (\Throwable $exception) {
            // A logger that fails must not fail the call.
            error_log("jackfield: the logger threw {$exception->getMessage()}");
        }
    }

    /** Milliseconds since an instant of hrtime(true), to the microsecond. */
    private static function since(int $started): float
    {
        return round((hrtime(true) - $started) / 1e6, 3);
    }
}
