<?php

declare(strict_types=1);

namespace Jackfield\Exception;

use Jackfield\Duration;

/**
 * Thrown when the deadline of a call passed.
 *
 * A deadline that passes while the client is connecting is a ConnectException, which names the
 * reason.
 */
final class TimeoutException extends \RuntimeException implements JackfieldException
{
    /** Phase: the request was not completely sent. */
    public const WRITE = 'write';

    /** Phase: no byte of the reply had arrived. */
    public const WAIT = 'wait';

    /** Phase: the reply had begun to arrive. */
    public const READ = 'read';

    /**
     * @param string $phase WRITE, WAIT or READ
     * @param bool   $sent  whether the host may have received the complete request, or may still
     *                      receive it
     */
    public function __construct(string $message, public readonly string $phase, public readonly bool $sent)
    {
        parent::__construct($message);
    }

    /**
     * Creates an exception whose message ends with the time-out and the time that the call took.
     *
     * @internal
     *
     * @param int $started  when the call began, as hrtime(true)
     * @param int $deadline an instant of hrtime(true), in nanoseconds
     */
    public static function of(string $message, int $started, int $deadline, string $phase, bool $sent): self
    {
        $duration = Duration::ofCall($started, $deadline);

        return new self("$message ($duration)", $phase, $sent);
    }

    public function isRetryable(): bool
    {
        return !$this->sent;
    }
}
