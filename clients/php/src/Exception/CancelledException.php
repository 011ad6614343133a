<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when the caller cancelled the call, or closed the client before the call ended.
 */
final class CancelledException extends \RuntimeException implements JackfieldException
{
    /**
     * @param bool $sent whether the request had left this process, so that the host may have run it
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
