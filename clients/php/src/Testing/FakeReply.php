<?php

/**
 * What a fake host does instead of answering.
 */

declare(strict_types=1);

namespace Jackfield\Testing;

/** @internal */
enum FakeReply
{
    case None;
    case HangUp;
}
