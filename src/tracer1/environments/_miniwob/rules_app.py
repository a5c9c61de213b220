"""Expert rules for tasks that look like small apps: menus, tabs, mail, posts, a restaurant's order."""

import re
from itertools import pairwise
from typing import Any

from tracer1.environments._miniwob.hand import Hand, Unsolved
from tracer1.environments._miniwob.rules import find, quoted, rule


@rule("click-menu")
async def click_menu(hand: Hand, goal: str) -> None:
    names = find(r"Select (.*)", goal).split(">")
    for name, after in pairwise(names):
        await hand.click(hand.named("#menu .ui-menu-item-wrapper", name), f"item {name}", "hover")
        await hand.until(hand.named("#menu .ui-menu-item-wrapper", after))
    await hand.click(hand.named("#menu .ui-menu-item-wrapper", names[-1]), f"item {names[-1]}")


@rule("click-menu-2")
async def click_menu_2(hand: Hand, goal: str) -> None:
    await hand.click("#open-menu", "menu button")
    if labels := quoted(goal)[1:]:
        item = hand.named("#menu .ui-menu-item-wrapper", labels[0])
    else:
        icon = await hand.at("#query .ui-icon").evaluate("e => e.classList[1]")
        item = hand.at(f"#menu .ui-menu-item-wrapper:has(.{icon})")
    if not await item.is_visible():
        await hand.click(hand.named("#menu .ui-menu-item-wrapper", "Playback"), "item Playback", "hover")
        await hand.until(item)
    await hand.click(item, f"item {await hand.text(item)}")


@rule("click-collapsible-2", "click-collapsible-2-nodelay")
async def click_collapsible_2(hand: Hand, goal: str) -> None:
    """Opens one section after the other until the link shows."""
    link = hand.named(".alink", quoted(goal)[0])
    for i, name in enumerate(("first", "second", "third")):
        await hand.click(hand.at("#area h3").nth(i), f"{name} section")
        for k in range(await link.count()):
            if await hand.shows(link.nth(k)):
                await hand.click(link.nth(k), f"link {quoted(goal)[0]}")
                return
    raise Unsolved("no section shows the link")


@rule("click-tab-2", "click-tab-2-easy", "click-tab-2-medium", "click-tab-2-hard")
async def click_tab_2(hand: Hand, goal: str) -> None:
    """Looks at the open tab, then at the others from left to right."""
    link = hand.named(".alink", quoted(goal)[0])
    tabs = hand.at("#area .ui-tabs-anchor")
    for i in range(await tabs.count()):
        if i:
            await hand.click(tabs.nth(i), f"tab {i + 1}")
        if hand.episode.done:  # the -medium task is over as soon as the right tab is open
            return
        for k in range(await link.count()):
            if await hand.shows(link.nth(k)):
                await hand.click(link.nth(k), f"link {quoted(goal)[0]}")
                return
    raise Unsolved("no tab shows the link")


MAIL = ("email-inbox", "email-inbox-delete", "email-inbox-forward", "email-inbox-important", "email-inbox-noscroll")


@rule(*MAIL, "email-inbox-reply", "email-inbox-star-reply")
async def email_inbox(hand: Hand, goal: str) -> None:
    name = find(r"by (.*?) and", goal)
    mail = hand.at(".email-thread").filter(has=hand.named(".email-sender", name))
    if await mail.count() > 1:
        raise Unsolved(f"two mails by {name}: the instruction does not say which")
    await hand.scroll_to("#main", mail.locator(".email-sender"))
    if "delete" in goal or "important" in goal:
        icon, words = (".trash", "trash icon") if "delete" in goal else (".star", "star icon")
        await hand.scroll_to("#main", mail.locator(icon))
        await hand.click(mail.locator(icon), words)
        return
    await hand.click(mail.locator(".email-sender"), f"mail of {name}")
    reply = "reply to them" in goal
    button = "#email .email-reply" if reply else "#email .email-forward"
    await hand.scroll_to("#email", button)
    await hand.click(button, "reply button" if reply else "forward button")
    if reply:
        await hand.fill("#reply-text", quoted(goal)[0], "reply")
    else:
        await hand.fill(".forward-sender", find(r"email to (.*)\.", goal), "receiver")
    await hand.click("#send-reply" if reply else "#send-forward", "send icon")


@rule("social-media")
async def social_media(hand: Hand, goal: str) -> None:
    user, name = find(r"the user (@\w+)", goal), find(r'the "(.*?)" button', goal)
    post = hand.at(".media").filter(has=hand.named(".username", user)).first
    button = {"Reply": ".reply", "Retweet": ".retweet", "Like": ".like"}.get(name)
    await hand.scroll_to("#area", post.locator(button or ".more"))
    if button:
        await hand.click(post.locator(button), f"{name.lower()} icon")
        return
    await hand.click(post.locator(".more"), "more icon")
    item = hand.named(".media ul:not(.hide) li", f"{name} {user}" if name in ("Mute", "Block") else name)
    await hand.scroll_to("#area", item)
    await hand.click(item, f"item {name}")


@rule("social-media-all", "social-media-some")
async def social_media_all(hand: Hand, goal: str) -> None:
    """From top to bottom: presses what shows, scrolls on where nothing is left to press."""
    user, name = find(r"by (@\w+)", goal), quoted(goal)[0].lower()
    wanted = int(find(r"on (\d+) post", goal)) if re.search(r"on \d+ post", goal) else 99
    icons = hand.at(".media").filter(has=hand.named(".username", user)).locator(f".{name}")
    for i in range(min(await icons.count(), wanted)):
        await hand.scroll_to("#area", icons.nth(i))
        await hand.click(icons.nth(i), f"{name} icon")
    await hand.scroll_to("#area", "#submitRow button")
    await hand.click("#submitRow button", "submit button")


@rule("order-food")
async def order_food(hand: Hand, goal: str) -> None:
    if "one of each" in goal:
        names = {name.strip() for name in find(r"item: (.*)", goal).split(", ")}
        for name in [name for name in await hand.texts(".item-name") if name in names]:
            await plus(hand, hand.at(".food-item").filter(has=hand.named(".item-name", name)), name)
    else:
        item = hand.at(f'.food-item:has(img[title="{goal.split()[-1]}"])').first
        for _ in range(int(find(r"Order (\d)", goal))):
            await plus(hand, item, await hand.text(item.locator(".item-name")))
    await hand.scroll_to("#area", "#submit-order button")
    await hand.click("#submit-order button", "order button")


async def plus(hand: Hand, item: Any, name: str) -> None:
    """Scrolls to an item and presses its plus."""
    await hand.scroll_to("#area", item.locator(".item-name"))
    await hand.scroll_to("#area", item.locator(".add"))
    await hand.click(item.locator(".add"), f"plus of {name}")
