<?php

/**
 * The host or a plugin answered with an error.
 */

declare(strict_types=1);

namespace Jackfield\Exception;

use Jackfield\Wire\Code;

class RemoteException extends \RuntimeException implements JackfieldException
{
    /** @param int $code the error's code on the wire: JSON-RPC's, the host's, or the plugin's own */
    public function __construct(int $code, string $message, private readonly mixed $data = null)
    {
        parent::__construct($message, $code);
    }

    /** The exception for the `error` member of a reply. */
    public static function from(int $code, string $message, mixed $data): self
    {
        return $code === Code::GOING_AWAY
            ? new GoingAwayException($code, $message, $data)
            : new self($code, $message, $data);
    }

    /** The error's `data` member as it came, null when it had none. */
    public function data(): mixed
    {
        return $this->data;
    }

    /** The name of a code of the protocol, such as DEADLINE_EXCEEDED; null for a plugin's own. */
    public function name(): ?string
    {
        return Code::name($this->getCode());
    }

    /** How long the host asks to be left alone, in milliseconds; null when it does not say. */
    public function retryAfterMs(): ?int
    {
        $data = is_object($this->data) ? get_object_vars($this->data) : $this->data;
        $after = is_array($data) ? ($data['retry_after_ms'] ?? null) : null;

        return is_int($after) && $after >= 0 ? $after : null;
    }

    public function isRetryable(): bool
    {
        return Code::neverStarted($this->getCode());
    }
}
