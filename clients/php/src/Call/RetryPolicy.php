<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\GoingAwayException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Options;
use Jackfield\Pool\Backoff;

/**
 * Decides whether and when a failed request is sent again.
 *
 * A request that the host did not start is always retried:
 *
 * - A connection that was closed before the request was sent does not count as a try.
 * - A host that is going away is replaced by the next one, which a new connection reaches. Its
 *   answer does not count as a try, either.
 * - A host that rejects a request for another reason states how long to wait.
 *
 * A request that may have run is retried only if the caller declared it idempotent, and only if the
 * connection was lost or the host asked for a retry, as a host that is shutting down does. Any
 * other error of the host is final.
 *
 * @internal
 */
final class RetryPolicy
{
    public function __construct(private readonly Options $options)
    {
    }

    /**
     * Returns the delay before the next try, in nanoseconds; null if there is none.
     *
     * @param int $tries    how often the complete request was sent, including the failed try
     * @param int $refusals how often the host answered that it is going away
     * @param int $deadline an instant of hrtime(true), in nanoseconds
     */
    public function delay(
        JackfieldException $failure,
        int $tries,
        int $refusals,
        bool $idempotent,
        int $deadline,
    ): ?int {
        if ($failure instanceof ConnectionLostException && !$failure->sent) {
            return 0;
        }
        if ($failure instanceof GoingAwayException) {
            // The first new connection nearly always reaches the next host.
            $delay = $refusals > 1 ? Backoff::nanos($refusals - 1) : 0;

            return hrtime(true) + $delay < $deadline ? $delay : null;
        }
        if ($tries >= $this->options->maxTries) {
            return null;
        }

        $delay = match (true) {
            $failure instanceof ConnectionLostException => $idempotent ? 0 : null,
            $failure instanceof RemoteException
                && ($failure->isRetryable() || ($idempotent && $failure->retryAfterMs() !== null))
                => self::refusalDelay($failure, $tries),
            default => null,
        };

        return $delay !== null && hrtime(true) + $delay < $deadline ? $delay : null;
    }

    /** Returns the delay that the host asks for, but at least the backoff. */
    private static function refusalDelay(RemoteException $failure, int $tries): int
    {
        $asked = ($failure->retryAfterMs() ?? 0) * 1_000_000;
        $backoff = Backoff::nanos($tries);

        return max($backoff, $asked);
    }

    /**
     * Returns the failure of a request that may have run, because the connection of an earlier try
     * was lost after the request was sent.
     *
     * @param JackfieldException $failure the failure of the last try
     */
    public static function lostEarlier(string $method, JackfieldException $failure): ConnectionLostException
    {
        $reason = $failure->getMessage();

        return new ConnectionLostException(
            "$method: the connection was closed before the reply arrived, and the retry failed: $reason",
            true
        );
    }
}
