<?php

/**
 * The peer sent what the protocol does not allow. The connection is closed; what became of the request is unknown.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

final class ProtocolException extends \RuntimeException implements JackfieldException
{
    public function isRetryable(): bool
    {
        return false;
    }
}
