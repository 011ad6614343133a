<?php

declare(strict_types=1);

namespace Jackfield\Exception;

/**
 * Implemented by every exception of this package.
 */
interface JackfieldException extends \Throwable
{
    /**
     * Returns whether sending the same request again is safe and may help.
     *
     * True only if the host certainly never started the request. A caller whose request is
     * idempotent may retry after other failures, too.
     */
    public function isRetryable(): bool;
}
