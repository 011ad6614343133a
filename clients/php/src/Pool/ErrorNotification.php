<?php

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\RemoteException;
use Jackfield\Wire\Code;
use Jackfield\Wire\Envelope;

/**
 * An error notification (frame of kind `03`): an error that belongs to no request.
 *
 * @internal
 */
final class ErrorNotification
{
    private function __construct(public readonly RemoteException|ProtocolException $error)
    {
    }

    /**
     * Parses the payload of a frame of kind `03`.
     */
    public static function parse(string $payload): self
    {
        try {
            $reply = Envelope::reply($payload, true);
        } catch (ProtocolException $error) {
            return new self($error);
        }

        $error = $reply['error'] ?? null;
        $error = Envelope::error($error);

        return new self($error);
    }

    /**
     * Returns whether the host still answers the requests that it accepted, but accepts no more.
     */
    public function isGoingAway(): bool
    {
        return $this->error->getCode() === Code::GOING_AWAY;
    }

    /**
     * Returns whether a request with a payload of `$length` bytes fails because of this error.
     *
     * FRAME_TOO_LARGE only concerns requests above the limit that the host sent with it.
     */
    public function concerns(int $length): bool
    {
        return $this->error->getCode() !== Code::FRAME_TOO_LARGE || $length > $this->frameLimit();
    }

    /**
     * Returns whether the connection stays usable.
     *
     * After FRAME_TOO_LARGE the host discards the payload and continues with the next frame. Any
     * other error leaves it unknown where the next frame starts.
     */
    public function keepsConnectionUsable(): bool
    {
        return $this->isGoingAway() || $this->error->getCode() === Code::FRAME_TOO_LARGE;
    }

    private function frameLimit(): int
    {
        $data = $this->error instanceof RemoteException ? $this->error->data() : null;
        $limit = is_array($data) ? ($data['limit'] ?? null) : null;

        return is_int($limit) ? $limit : 0;
    }
}
