<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when every connection was in use, or too many calls were queued already.
 *
 * The request was not sent.
 */
final class PoolFullException extends \RuntimeException implements JackfieldException
{
    public function isRetryable(): bool
    {
        return true;
    }
}
