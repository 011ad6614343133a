<?php

/**
 * Every connection was taken, or too many calls were queued already; the request never left this process.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

final class PoolFullException extends \RuntimeException implements JackfieldException
{
    public function isRetryable(): bool
    {
        return true;
    }
}
