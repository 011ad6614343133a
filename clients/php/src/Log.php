<?php

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Exception\ConnectException;
use Jackfield\Exception\ConnectionLostException;
use Psr\Log\LoggerInterface;

use function error_log, function_exists, hrtime, pcntl_async_signals, pcntl_signal_dispatch, round;

/**
 * Logs calls, retries and failures through the PSR-3 logger of Options::$logger, if there is one.
 *
 * Messages contain PSR-3 placeholders such as `{method}`; the context holds their values.
 *
 * @internal
 */
final class Log
{
    /** Whether there is a logger. Without one, callers skip timing and context. */
    public readonly bool $isEnabled;

    /** Time between two lines about calls that fail because the host is down, in nanoseconds. */
    private const LIMIT_INTERVAL = 1_000_000_000;

    private readonly bool $canDeferSignals;

    /** @var array<string, array{until: int, suppressed: int}> limits by kind of failure */
    private array $limits = [];

    /** Lines that were suppressed before the one that is about to be written. */
    private int $suppressed = 0;

    public function __construct(private readonly ?LoggerInterface $logger)
    {
        $this->isEnabled = $logger !== null;
        $this->canDeferSignals = $logger !== null && function_exists('pcntl_async_signals');
    }

    public function asyncSent(string $id, string $method): void
    {
        $this->write('debug', '{method}: async request sent', ['async_request_id' => $id, 'method' => $method]);
    }

    /** @param int $started when the call began, as hrtime(true) */
    public function asyncEnded(string $id, string $method, int $started, ?\Throwable $failure): void
    {
        if ($this->isSuppressed($failure)) {
            return;
        }

        $context = [
            'async_request_id' => $id,
            'method' => $method,
            'duration_ms' => self::millisecondsSince($started),
        ];
        $failure === null
            ? $this->write('info', '{method}: async request answered after {duration_ms} ms', $context)
            : $this->write(
                'warning',
                '{method}: async request failed after {duration_ms} ms',
                $context + ['exception' => $failure]
            );
    }

    /** @param int $started when the call began, as hrtime(true) */
    public function syncEnded(string $id, string $method, int $started, ?\Throwable $failure): void
    {
        if ($this->isSuppressed($failure)) {
            return;
        }

        $context = ['id' => $id, 'method' => $method, 'duration_ms' => self::millisecondsSince($started)];
        $failure === null
            ? $this->write('debug', '{method}: request answered after {duration_ms} ms', $context)
            : $this->write(
                'warning',
                '{method}: request failed after {duration_ms} ms',
                $context + ['exception' => $failure]
            );
    }

    /**
     * Logs the first of several failures to connect.
     *
     * @param int $connectTimeout how long each call tries again, in nanoseconds
     */
    public function connectFailed(string $address, \Throwable $failure, int $connectTimeout): void
    {
        $this->write('notice', 'cannot connect to {address}: calls try again for {connect_timeout_ms} ms', [
            'address' => $address,
            'connect_timeout_ms' => $connectTimeout / 1e6,
            'exception' => $failure,
        ]);
    }

    public function retrying(string $id, string $method, int $tries, \Throwable $failure): void
    {
        if ($this->isSuppressed($failure)) {
            return;
        }

        $this->write('notice', '{method}: request {id} failed and is sent again', [
            'id' => $id,
            'method' => $method,
            'tries' => $tries,
            'exception' => $failure,
        ]);
    }

    /**
     * Logs a reply without a waiting call.
     *
     * @param bool $late whether the call was withdrawn; otherwise the id is unknown
     */
    public function unmatchedReply(?string $id, bool $late): void
    {
        $late
            ? $this->write('debug', 'late reply to request {id} ignored', ['id' => $id])
            : $this->write('warning', 'reply with the unknown id {id} ignored', ['id' => $id]);
    }

    /**
     * Logs an exception that a callback threw. Without a logger it goes to PHP's error log.
     */
    public function callbackThrew(string $id, \Throwable $exception): void
    {
        if ($this->logger === null) {
            error_log("jackfield: the callback of request $id threw $exception");

            return;
        }

        $this->write(
            'error',
            'the callback of request {async_request_id} threw an exception',
            ['async_request_id' => $id, 'exception' => $exception]
        );
    }

    /**
     * Returns whether a failure is one of many that a host that is down causes.
     *
     * One a second is logged for each kind; the next line has the number of the others in the
     * member `suppressed` of its context.
     */
    private function isSuppressed(?\Throwable $failure): bool
    {
        $kind = match (true) {
            $failure instanceof ConnectException => 'connect',
            $failure instanceof ConnectionLostException && !$failure->sent => 'lost',
            default => null,
        };
        if ($kind === null || !$this->isEnabled) {
            return false;
        }

        $now = hrtime(true);
        $limit = $this->limits[$kind] ?? ['until' => 0, 'suppressed' => 0];
        if ($now < $limit['until']) {
            $this->limits[$kind]['suppressed'] = $limit['suppressed'] + 1;

            return true;
        }

        $this->suppressed = $limit['suppressed'];
        $this->limits[$kind] = ['until' => $now + self::LIMIT_INTERVAL, 'suppressed' => 0];

        return false;
    }

    /** @param array<string, mixed> $context */
    private function write(string $level, string $message, array $context): void
    {
        if ($this->logger === null) {
            return;
        }
        if ($this->suppressed > 0) {
            $context['suppressed'] = $this->suppressed;
            $this->suppressed = 0;
        }
        if (!$this->canDeferSignals || !pcntl_async_signals()) {
            $this->writeNow($level, $message, $context);

            return;
        }

        // A signal handler of the program runs afterwards. Its exception would otherwise be taken
        // for one of the logger.
        try {
            pcntl_async_signals(false);
        } catch (\Throwable $thrown) {
            // The signal handler ran when the call returned.
            pcntl_async_signals(true);
            throw $thrown;
        }
        $this->writeNow($level, $message, $context);
        pcntl_async_signals(true);
        pcntl_signal_dispatch();
    }

    /** @param array<string, mixed> $context */
    private function writeNow(string $level, string $message, array $context): void
    {
        try {
            $this->logger->log($level, $message, $context);
        } catch (\Throwable $exception) {
            // A logger that fails must not fail the call.
            $message = $exception->getMessage();
            error_log("jackfield: the logger of the option logger threw an exception: $message");
        }
    }

    /**
     * Returns the milliseconds since an instant of hrtime(true), rounded to microseconds.
     */
    private static function millisecondsSince(int $started): float
    {
        $now = hrtime(true);

        return round(($now - $started) / 1e6, 3);
    }
}
