<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when the host does not support what the call needs. The request was not sent.
 */
final class UnsupportedException extends \RuntimeException implements JackfieldException
{
    /** @internal */
    public static function bytes(string $method): self
    {
        return new self(
            "$method: the host accepts no bytes (they need version 1.2 of the protocol, and the option hello)"
        );
    }

    public function isRetryable(): bool
    {
        return false;
    }
}
