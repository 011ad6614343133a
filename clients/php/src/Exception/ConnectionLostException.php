<?php

/**
 * The connection ended before the reply came.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

final class ConnectionLostException extends \RuntimeException implements JackfieldException
{
    /**
     * @param bool $sent whether the whole request had been handed to the kernel. A host never starts a request
     *                   of which a byte is missing
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
