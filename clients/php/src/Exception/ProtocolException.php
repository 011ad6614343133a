<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when the peer violated the protocol.
 *
 * The outcome of the request is unknown. If the reply that violated the protocol has an id, only
 * the call with this id fails; otherwise the connection is closed.
 */
class ProtocolException extends \RuntimeException implements JackfieldException
{
    public function isRetryable(): bool
    {
        return false;
    }
}
