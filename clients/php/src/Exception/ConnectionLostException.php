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
    public function __construct(string $message, public readonly bool $sent)
    {
        parent::__construct($message);
    }

    public function isRetryable(): bool
    {
        return !$this->sent;
    }
}
