<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Exception\UnreadableReplyException;
use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Wire\Code;
use Jackfield\Wire\Envelope;

use function hrtime, is_array;

/**
 * Turns the `error` member of a reply into the exception of the call.
 *
 * Some errors have their cause in what the client has sent: its deadline, or the largest reply that
 * it accepts. They become the exceptions that the client throws if it notices the cause itself.
 *
 * @internal
 */
final class ReplyFailure
{
    /**
     * How long before the deadline of the client the host may notice that it has passed, in
     * nanoseconds: the resolution of `deadline_ms`.
     */
    private const TOLERANCE = 1_000_000;

    /**
     * Returns the exception.
     *
     * @param mixed           $error      the `error` member of the reply
     * @param int             $started    when the call began, as hrtime(true)
     * @param int             $deadline   an instant of hrtime(true), in nanoseconds
     * @param Connection|null $connection the connection that the reply arrived on
     */
    public static function of(
        mixed $error,
        string $method,
        int $started,
        int $deadline,
        ?Connection $connection,
        Options $options,
    ): JackfieldException {
        $failure = Envelope::error($error, $method);
        if (!$failure instanceof RemoteException) {
            return $failure;
        }

        // A time-out of the host itself is shorter, so that its error arrives earlier.
        if ($failure->getCode() === Code::DEADLINE_EXCEEDED && hrtime(true) + self::TOLERANCE >= $deadline) {
            return TimeoutException::of(
                "$method: the deadline passed before the reply arrived",
                $started,
                $deadline,
                TimeoutException::WAIT,
                true
            );
        }

        if ($failure->getCode() === Code::INTERNAL_ERROR && self::isAboveLimit($failure, $connection, $options)) {
            return new UnreadableReplyException(
                "$method: the reply is larger than {$options->maxFrameBytes} bytes (raise the option maxFrameBytes)"
            );
        }

        return $failure;
    }

    /** Returns whether the host sent no result because this client accepts none of its size. */
    private static function isAboveLimit(RemoteException $failure, ?Connection $connection, Options $options): bool
    {
        $data = $failure->data();
        $limit = is_array($data) ? ($data['limit'] ?? null) : ($data->limit ?? null);
        $grant = $connection?->negotiation->grant;

        return $limit === $options->maxFrameBytes && $grant !== null && $grant->maxPayload > $limit;
    }
}
