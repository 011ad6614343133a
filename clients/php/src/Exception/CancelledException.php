<?php

/**
 * The caller cancelled the call, or closed the client under it.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

final class CancelledException extends \RuntimeException implements JackfieldException
{
    /** @param bool $sent whether the request had left this process, so that the host may have executed it */
    public function __construct(string $message, public readonly bool $sent)
    {
        parent::__construct($message);
    }

    public function isRetryable(): bool
    {
        return !$this->sent;
    }
}
