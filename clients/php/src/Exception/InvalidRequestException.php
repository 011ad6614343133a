<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when a request, an address or an option is invalid. Nothing was sent.
 */
final class InvalidRequestException extends \InvalidArgumentException implements JackfieldException
{
    public function isRetryable(): bool
    {
        return false;
    }
}
