<?php

/**
 * The request or an option cannot be what it is; nothing was sent.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

final class InvalidRequestException extends \InvalidArgumentException implements JackfieldException
{
    public function isRetryable(): bool
    {
        return false;
    }
}
