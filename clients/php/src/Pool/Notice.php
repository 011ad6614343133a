<?php

/**
 * A `03` frame: the host's word on a connection, belonging to no request.
 */

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\RemoteException;
use Jackfield\Wire\Code;
use Jackfield\Wire\Envelope;

final class Notice
{
    private function __construct(public readonly RemoteException|ProtocolException $error)
    {
    }

    public static function read(string $payload): self
    {
        try {
            $reply = Envelope::reply($payload, true);
        } catch (ProtocolException $error) {
            return new self($error);
        }

        return new self(Envelope::error($reply['error'] ?? null));
    }

    /** The host answers what it has accepted and takes nothing more. */
    public function isGoingAway(): bool
    {
        return $this->error->getCode() === Code::GOING_AWAY;
    }

    /** Whether this is the end of a request whose payload has `$length` bytes. */
    public function concerns(int $length): bool
    {
        return $this->error->getCode() !== Code::FRAME_TOO_LARGE || $length > $this->limit();
    }

    /** Whether the frames of the connection are still in step: only a frame that was too large leaves them so. */
    public function sparesConnection(): bool
    {
        return $this->isGoingAway() || $this->error->getCode() === Code::FRAME_TOO_LARGE;
    }

    private function limit(): int
    {
        $data = $this->error instanceof RemoteException ? $this->error->data() : null;
        $limit = is_array($data) ? ($data['limit'] ?? null) : null;

        return is_int($limit) ? $limit : 0;
    }
}
