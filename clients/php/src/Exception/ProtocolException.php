<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when the peer violated the protocol.
 *
 * The connection is closed. The outcome of the request is unknown.
 */
final class ProtocolException extends \RuntimeException implements JackfieldException
{
    public function isRetryable(): bool
    {
        return false;
    }
}
