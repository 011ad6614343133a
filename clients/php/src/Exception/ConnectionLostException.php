<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when the connection was closed before the reply arrived.
 */
final class ConnectionLostException extends \RuntimeException implements JackfieldException
{
    /**
     * @param bool $sent whether the complete request was written to the socket. A host never starts
     *                   an incomplete request
     */
    public function __construct(string $message, public readonly bool $sent, ?\Throwable $previous = null)
    {
        parent::__construct($message, 0, $previous);
    }

    public function isRetryable(): bool
    {
        return !$this->sent;
    }
}
