<?php

/**
 * The deadline of a call passed.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

final class TimeoutException extends \RuntimeException implements JackfieldException
{
    public const WRITE = 'write';
    public const WAIT = 'wait';
    public const READ = 'read';

    /**
     * @param string $phase what the call was doing: WRITE (the request was not wholly sent), WAIT (no byte of the
     *                      reply had come) or READ (the reply had begun). A deadline that passes while connecting
     *                      is a ConnectException, which names the reason
     * @param bool   $sent  whether the host may have the whole request, or may get it still
     */
    public function __construct(string $message, public readonly string $phase, public readonly bool $sent)
    {
        parent::__construct($message);
    }

    public function isRetryable(): bool
    {
        return !$this->sent;
    }
}
