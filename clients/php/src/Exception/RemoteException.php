<?php

declare(strict_types=1);

namespace Jackfield\Exception;

use Jackfield\Wire\Code;

/**
 * Thrown when the host or a plugin answered with an error.
 */
class RemoteException extends \RuntimeException implements JackfieldException
{
    /**
     * @param int $code error code of the reply: defined by JSON-RPC, by the host or by the plugin
     */
    public function __construct(int $code, string $message, private readonly mixed $data = null)
    {
        parent::__construct($message, $code);
    }

    /**
     * Creates the exception for the `error` member of a reply.
     */
    public static function from(int $code, string $message, mixed $data): self
    {
        return $code === Code::GOING_AWAY
            ? new GoingAwayException($code, $message, $data)
            : new self($code, $message, $data);
    }

    /**
     * Returns the decoded `data` member of the error, or null if it has none.
     */
    public function data(): mixed
    {
        return $this->data;
    }

    /**
     * Returns the name of the code, such as `DEADLINE_EXCEEDED`; null for a code of a plugin.
     */
    public function name(): ?string
    {
        return Code::name($this->code);
    }

    /**
     * Returns the delay that the host asks for before a retry, in milliseconds, or null.
     */
    public function retryAfterMs(): ?int
    {
        $after = $this->member('retry_after_ms');

        return is_int($after) && $after >= 0 ? $after : null;
    }

    /**
     * Returns the reason as one word, such as `probe-crashed`, if the host sent one: with
     * PLUGIN_UNAVAILABLE, why the plugin was refused. Otherwise returns null.
     */
    public function reason(): ?string
    {
        $reason = $this->member('reason');

        return is_string($reason) ? $reason : null;
    }

    private function member(string $name): mixed
    {
        $data = is_object($this->data) ? get_object_vars($this->data) : $this->data;

        return is_array($data) ? ($data[$name] ?? null) : null;
    }

    public function isRetryable(): bool
    {
        return Code::neverStarted($this->code);
    }
}
