<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when no connection could be made. The request was not sent.
 */
final class ConnectException extends \RuntimeException implements JackfieldException
{
    /**
     * @param int  $code      errno of the last attempt, 0 if there is none
     * @param bool $transient whether a later attempt may succeed: the backlog is full, or there is
     *                        no listener or no socket yet. False if, for example, a permission is
     *                        missing.
     */
    public function __construct(
        string $message,
        int $code,
        private readonly bool $transient,
        ?\Throwable $previous = null,
    ) {
        parent::__construct($message, $code, $previous);
    }

    public function isRetryable(): bool
    {
        return $this->transient;
    }
}
