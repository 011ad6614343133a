<?php

/**
 * The marker that everything thrown by this package carries.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

interface JackfieldException extends \Throwable
{
    /**
     * Whether sending the same request again is safe: true only when it is certain that the host never started
     * it, and trying again may help. A caller whose request is idempotent may retry after the others as well.
     */
    public function isRetryable(): bool;
}
