<?php

/**
 * No connection could be made; the request never left this process.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

final class ConnectException extends \RuntimeException implements JackfieldException
{
    /**
     * @param int  $code      the errno of the last attempt, 0 when there is none
     * @param bool $transient a full backlog, no listener or no socket yet, as opposed to what waiting cannot mend
     */
    public function __construct(string $message, int $code, private readonly bool $transient)
    {
        parent::__construct($message, $code);
    }

    public function isRetryable(): bool
    {
        return $this->transient;
    }
}
