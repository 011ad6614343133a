<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Thrown when the reply is valid, but this client cannot return it.
 *
 * It is larger than Options::$maxFrameBytes, nested deeper than 512 levels, contains a value that
 * PHP cannot hold, or is JSON for a call that returns bytes. The request was executed. Other calls
 * on the connection continue.
 */
final class UnreadableReplyException extends ProtocolException
{
    /** @internal */
    public static function notBytes(string $method): self
    {
        return new self("$method: the result is JSON, not bytes (use call() or callAsync())");
    }
}
