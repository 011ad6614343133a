<?php

/**
 * Whether a request that failed is sent again, and when.
 */

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\GoingAwayException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Options;
use Jackfield\Pool\Backoff;

final class RetryPolicy
{
    public function __construct(private readonly Options $options)
    {
    }

    /**
     * Nanoseconds to wait before the request is sent again; null: the failure stands.
     *
     * A request the host did not start is sent again by itself: a connection that was dead before the request was
     * sent costs no try at all, and a host that refuses says how long to wait. One that may have run is sent again
     * only if the caller said that this is harmless, and only where the connection was lost or the host said when to
     * come back, as one that ends does: otherwise a host that answered with an error has had its say.
     *
     * @param int $tries times the request has been sent in whole, this one included
     */
    public function delay(JackfieldException $failure, int $tries, bool $idempotent, int $deadline): ?int
    {
        if ($failure instanceof ConnectionLostException && !$failure->sent) {
            return 0;
        }
        if ($tries >= $this->options->maxTries) {
            return null;
        }
        $delay = match (true) {
            $failure instanceof ConnectionLostException => $idempotent ? 0 : null,
            $failure instanceof GoingAwayException => 0,
            $failure instanceof RemoteException
                && ($failure->isRetryable() || ($idempotent && $failure->retryAfterMs() !== null))
                => max(Backoff::nanos($tries), ($failure->retryAfterMs() ?? 0) * 1_000_000),
            default => null,
        };

        return $delay !== null && hrtime(true) + $delay < $deadline ? $delay : null;
    }

    /** The failure of a request of which an earlier try was sent and lost: it may have run, whatever came later. */
    public static function unsure(JackfieldException $failure): ConnectionLostException
    {
        return new ConnectionLostException(
            "the connection ended before the reply came, and then: {$failure->getMessage()}",
            true
        );
    }
}
